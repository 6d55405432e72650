/** How is long work done without keeping the page waiting? In slices of a few milliseconds, each a task of its own. */

/** Including the step that runs over, shorter than half a frame; even on a phone, four times as slow, no long task. */
const SLICE = 5;

/** Soon, but after whatever else waits, such as a click or a frame. */
function soon(act: () => void): void {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    act();
  };
  channel.port2.postMessage(null);
}

/** A task of its own for what follows. */
export function pause(): Promise<void> {
  return new Promise(soon);
}

let hurried = false;

/** Whether all work is done at once, such as while a page is printed. */
export function hurry(on: boolean): void {
  hurried = on;
}

/** Work in steps; each step's result is awaited before the next, unless all is done at once. */
export type Work<T> = Generator<void | Promise<void>, T>;

/** All of some work at once. */
export function whole<T>(work: Work<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

const working = new Set<Slices>();
const waiting: (() => void)[] = [];

/** Resolves once no work is under way, and its results have been seen. */
export async function drawn(): Promise<void> {
  if (working.size) await new Promise<void>((done) => void waiting.push(done));
  await new Promise<void>((done) => {
    const timer = setTimeout(done, UNSEEN);
    requestAnimationFrame(() => soon(() => {
      clearTimeout(timer);
      done();
    }));
  });
}

/** Work that is asked for again and again: what is under way is finished, then only the newest is begun. None begins
 * before the page has been seen. */
export class Slices {
  private next: (() => Work<void>) | null = null;
  private under: Work<void> | null = null;

  /** Whether some work has begun, or waits for the page to be seen. */
  private get busy(): boolean {
    return working.has(this);
  }

  private set busy(on: boolean) {
    if (on) working.add(this);
    else working.delete(this);
    if (!working.size) waiting.splice(0).forEach((go) => go());
  }

  begin(work: () => Work<void>): void {
    this.next = work;
    if (this.busy && !hurried) return;
    if (seen) return this.run();
    this.busy = true;
    void firstSeen().then(() => this.run());
  }

  stop(): void {
    this.under = this.next = null;
    this.busy = false;
  }

  private run(): void {
    const work = this.next;
    this.next = null;
    this.busy = work !== null;
    this.under = null;
    if (!work) return;
    const steps = (this.under = work());
    const slice = (): void => {
      if (this.under !== steps) return; // stopped, or overtaken by work that could not wait
      const until = performance.now() + SLICE;
      while (hurried || performance.now() < until) {
        const { done, value } = steps.next();
        if (done) return this.run();
        if (value && !hurried) return void value.then(slice);
      }
      soon(slice);
    };
    if (hurried) slice();
    else soon(slice);
  }
}

/** A page that is not visible, such as in a background tab, is not painted; after this many milliseconds it goes on anyway. */
const UNSEEN = 1000;

let seen = false;

/** Resolves once the page has been seen for the first time: a frame that was drawn may not have been shown yet. */
export function firstSeen(): Promise<void> {
  return new Promise((done) => {
    const resolve = (): void => {
      seen = true;
      done();
    };
    const painted = (): boolean => performance.getEntriesByName("first-contentful-paint").length > 0;
    if (seen || painted()) return resolve();
    const watch = new PerformanceObserver(() => painted() && end());
    const timer = setTimeout(() => end(), UNSEEN);
    const end = (): void => {
      watch.disconnect();
      clearTimeout(timer);
      resolve();
    };
    watch.observe({ type: "paint", buffered: true });
  });
}
