import { expect, test } from "vitest";
import { hurry, Slices, whole, type Work } from "../src/slices";

function* twoSteps(wait: Promise<void>, told: string[], name: string): Work<void> {
  told.push(`${name} begins`);
  yield wait;
  told.push(`${name} ends`);
}

/** Work that has begun and waits, until the answer's last part is called. */
async function waiting(name: string): Promise<[Slices, string[], () => void]> {
  const told: string[] = [];
  let come = (): void => undefined;
  const slices = new Slices();
  slices.begin(() => twoSteps(new Promise((done) => (come = done)), told, name));
  await expect.poll(() => told, { timeout: 5000 }).toEqual([`${name} begins`]);
  return [slices, told, () => come()];
}

const soon = (): Promise<void> => new Promise((done) => setTimeout(done, 30));

test("a step that gives back something to wait for is followed once that has come", async () => {
  const [, told, come] = await waiting("one");
  await soon();
  expect(told).toEqual(["one begins"]);
  come();
  await expect.poll(() => told).toEqual(["one begins", "one ends"]);
});

test("work that cannot wait overtakes what waits, which is not taken up again", async () => {
  const [slices, told, come] = await waiting("old");
  hurry(true);
  slices.begin(() => twoSteps(new Promise(() => undefined), told, "new"));
  hurry(false);
  come();
  await soon();
  expect(told).toEqual(["old begins", "new begins", "new ends"]);
});

test("all at once waits for nothing", () => {
  const told: string[] = [];
  whole(twoSteps(new Promise(() => undefined), told, "one"));
  expect(told).toEqual(["one begins", "one ends"]);
});
