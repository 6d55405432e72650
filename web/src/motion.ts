/** How much is left out while a picture moves? Nothing if the machine is fast enough; all of it returns at rest. */

/** Frames that take longer than this are too slow: a thirtieth of a second. */
const SLOW = 34;
const REST = 220;
export const LAST = 3;

export class Motion {
  /** 0: all facets and pixels; 1 and 2: fewer facets; the last: fewer still, no lines, and fewer pixels. */
  level = 0;
  /** Whether the eye moved a moment ago. */
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
    // If a frame takes long, a pause between two of them is not yet rest.
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

  /** Another surface may be faster; if it surely is not, it begins at another level. */
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
