/**
 * The results of `work` on each item, as each is ready. At most `limit` items are between being
 * read and their result being taken: work that is slow stops the reading, and so does a consumer
 * that is. Throws as soon as the signal aborts, leaving what is in work to the signal, and with
 * the error of an item that can't be read or worked on.
 */
export async function* inParallel<Item, Result>(
  items: AsyncIterator<Item>,
  limit: number,
  signal: AbortSignal,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const ready: Result[] = [];
  const failures: unknown[] = [];
  let workingCount = 0;
  let isReading = false;
  let hasMore = true;
  // One waiter that everything wakes: promises raced against a lasting one would pile up on it.
  let wake = () => {};
  const wakeUp = () => wake();

  const run = async (item: Item) => {
    workingCount++;
    try {
      ready.push(await work(item));
    } catch (error) {
      failures.push(error);
    }
    workingCount--;
    wakeUp();
  };
  const read = async () => {
    isReading = true;
    try {
      const { done, value } = await items.next();
      if (done) hasMore = false;
      else void run(value);
    } catch (error) {
      failures.push(error);
    }
    isReading = false;
    wakeUp();
  };

  signal.addEventListener("abort", wakeUp);
  try {
    for (;;) {
      signal.throwIfAborted();
      if (failures.length > 0) throw failures[0];
      if (ready.length > 0) {
        yield ready.shift() as Result;
        continue;
      }
      if (!hasMore && workingCount === 0) return;
      if (hasMore && !isReading && workingCount < limit) void read();
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener("abort", wakeUp);
  }
}
