/** How much is left out while a picture moves? Nothing where the machine is quick enough; all of it comes back at rest. */

/** Frames that take longer than this are too slow: a thirtieth of a second. */
const SLOW = 34;
const REST = 220;
export const LAST = 3;

export class Motion {
  /** 0: all facets and pixels; 1 and 2: fewer facets; the last: fewer still, no lines, and fewer pixels. */
  level = 0;
  /** Whether the eye has moved a moment ago. */
  moving = false;
  private usual = 0;
  private slow = 0;
  private last = 0;
  private took = 0;
  private rest: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly changed: () => void) {}

  /** The eye has moved. */
  moved(): void {
    clearTimeout(this.rest);
    // Where a frame takes long, a pause between two of them is no rest yet.
    this.rest = setTimeout(() => this.settle(), REST + 3 * Math.min(this.took, 300));
    if (this.last === 0) {
      this.last = performance.now();
      this.to(this.usual, true);
    }
  }

  /** A frame begins. */
  frame(): void {
    if (this.last === 0) return;
    const now = performance.now();
    const took = now - this.last;
    this.last = now;
    this.took = took;
    this.slow = took > SLOW && took < 4000 ? this.slow + 1 : 0;
    if (this.slow < 2 || this.level === LAST) return;
    this.slow = 0;
    this.usual = this.level + 1;
    this.to(this.usual, true);
  }

  /** Another surface may be quicker; where it is surely not, it begins with another level. */
  restart(level = 0): void {
    this.usual = level;
    this.to(this.moving ? level : 0, this.moving);
  }

  stop(): void {
    clearTimeout(this.rest);
  }

  private settle(): void {
    this.last = 0;
    this.slow = 0;
    this.to(0, false);
  }

  private to(level: number, moving: boolean): void {
    if (level === this.level && moving === this.moving) return;
    Object.assign(this, { level, moving });
    this.changed();
  }
}
