/** How is long work done without keeping the page waiting? In slices of a few milliseconds, each a task of its own. */

/** Shorter than half a frame. */
const SLICE = 8;

/** Soon, but after whatever else waits, such as a click or a frame. */
function soon(act: () => void): void {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    channel.port1.close();
    act();
  };
  channel.port2.postMessage(null);
}

let hurried = false;

/** Whether all work is done at once, as while a page is printed. */
export function hurry(on: boolean): void {
  hurried = on;
}

/** All of some work at once. */
export function whole<T>(work: Generator<void, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Work that is asked for again and again: what is under way is finished, then only the newest is begun. None begins
 * before the page has been seen. */
export class Slices {
  private next: (() => Generator<void, void>) | null = null;
  private busy = false;
  private over = false;

  begin(work: () => Generator<void, void>): void {
    this.next = work;
    if (this.busy && !hurried) return;
    if (seen) return this.run();
    this.busy = true;
    void firstSeen().then(() => this.run());
  }

  stop(): void {
    this.over = true;
    this.next = null;
  }

  private run(): void {
    const work = this.next;
    this.next = null;
    this.busy = work !== null;
    if (!work) return;
    const steps = work();
    const slice = (): void => {
      if (this.over) return;
      const until = performance.now() + SLICE;
      while (hurried || performance.now() < until) if (steps.next().done) return this.run();
      soon(slice);
    };
    slice();
  }
}

/** A page that is not seen, as in a tab behind, is not painted; after so many milliseconds it goes on all the same. */
const UNSEEN = 1000;

let seen = false;

/** Once the page has been seen for the first time: a frame that was drawn may still wait to be shown. */
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
