import { describe, expect, it } from "vitest";
import { startInstances } from "../../src/solve/instances.ts";

/** Starts instances that know their number; `failing` tells whether a start fails. */
function numbered(failing: () => boolean = () => false) {
  let count = 0;
  return async () => {
    if (failing()) throw new Error("told not to start");
    return { number: ++count };
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

const boom = (): never => {
  throw new RangeError("told to throw");
};

describe("instances", () => {
  it("are used again and again while calls return", async () => {
    const instances = await startInstances("Solver", numbered());
    const first = instances.current();
    expect(instances.call(first, () => 7)).toBe(7);
    expect(instances.current()).toBe(first);
    expect(instances.isSound(first)).toBe(true);
  });

  it("are never used again after a call has thrown; the reason is kept", async () => {
    const instances = await startInstances("Solver", numbered());
    const first = instances.current();
    let caught: unknown;
    try {
      instances.call(first, boom);
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ message: "Solver failed", cause: { message: "told to throw" } });
    expect(instances.isSound(first)).toBe(false);
    expect(() => instances.call(first, () => 7)).toThrow("failed before");
    expect(instances.current().number).toBe(2);
    for (let next = 2; next < 6; next++) {
      await turn();
      expect(instances.current().number).toBe(next);
      expect(() => instances.call(instances.current(), boom)).toThrow("Solver failed");
    }
  });

  it("say so while none is left, and start again when they can", async () => {
    let isFailing = false;
    const instances = await startInstances(
      "Solver",
      numbered(() => isFailing),
    );
    isFailing = true;
    for (let n = 0; n < 2; n++) expect(() => instances.call(instances.current(), boom)).toThrow("failed");
    await turn();
    expect(() => instances.current()).toThrow("starting again");
    isFailing = false;
    expect(() => instances.current()).toThrow("starting again");
    await turn();
    expect(instances.current().number).toBe(3);
  });
});
