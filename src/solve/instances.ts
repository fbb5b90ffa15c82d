/** Solver instances of one thread: one in use and one in reserve. */
export interface Instances<T> {
  /** Throws an Error while both have failed and none has started again. */
  current(): T;
  /**
   * Runs a call into an instance. If it throws, the instance is never used again and the Error
   * thrown has the reason as its cause.
   */
  call<R>(instance: T, run: () => R): R;
  /** Whether no call into the instance has thrown. */
  isSound(instance: T): boolean;
}

/**
 * Starts two instances of a WebAssembly solver. Two, because starting is asynchronous and the
 * solve after a failure is not. An instance that has thrown is dropped because an aborted call
 * does not give its stack back: after some dozen aborts a healthy program fails or hangs.
 */
export async function startInstances<T>(name: string, start: () => Promise<T>): Promise<Instances<T>> {
  const live: T[] = [await start(), await start()];

  const refill = () => {
    start().then(
      (instance) => {
        if (live.length < 2) live.push(instance);
      },
      () => {}, // current() tells of it and tries again
    );
  };

  return {
    current() {
      const [instance] = live;
      if (instance === undefined) {
        refill();
        throw new Error(`${name} is starting again after a failure`);
      }
      return instance;
    },
    call(instance, run) {
      if (!live.includes(instance)) throw new Error(`${name} has failed before on this program's instance`);
      try {
        return run();
      } catch (cause) {
        live.splice(live.indexOf(instance), 1);
        refill();
        throw new Error(`${name} failed`, { cause });
      }
    },
    isSound: (instance) => live.includes(instance),
  };
}
