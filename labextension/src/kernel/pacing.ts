/** How often what arrives may change what is shown. Pure: time comes in from outside. */

import type { Timers } from './timers';

/** Of what comes sooner than `interval` after the last that was shown, the newest is shown when that time is over. */
export class Pacing<T> {
  private gap = 0;
  private shownAt: number | null = null;
  private held: { readonly value: T } | null = null;
  private timer: number | null = null;

  constructor(
    private readonly timers: Timers,
    private readonly now: () => number,
    private readonly show: (value: T) => void
  ) {}

  /** In ms; 0 holds nothing back. */
  get interval(): number {
    return this.gap;
  }

  set interval(ms: number) {
    this.gap = ms;
    this.release();
  }

  take(value: T): void {
    const wait = this.shownAt === null ? 0 : this.shownAt + this.gap - this.now();
    this.held = { value };
    if (wait <= 0) {
      this.release();
    } else if (this.timer === null) {
      this.timer = this.timers.set(() => this.release(), wait);
    }
  }

  /** What waits is not shown any more, and the next is shown at once. */
  forget(): void {
    this.stop();
    this.held = null;
    this.shownAt = null;
  }

  private release(): void {
    this.stop();
    const { held } = this;
    if (held) {
      this.held = null;
      this.shownAt = this.now();
      this.show(held.value);
    }
  }

  private stop(): void {
    if (this.timer !== null) {
      this.timers.clear(this.timer);
      this.timer = null;
    }
  }
}
