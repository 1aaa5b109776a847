import type { Timers } from '../../src/kernel/timers';

/** Timers that ring when told to. */
export class Clock implements Timers {
  now = 0;
  private readonly rings = new Map<number, { readonly at: number; readonly ring: () => void }>();
  private count = 0;

  get waiting(): number {
    return this.rings.size;
  }

  set(ring: () => void, ms: number): number {
    const timer = ++this.count;
    this.rings.set(timer, { at: this.now + ms, ring });
    return timer;
  }

  clear(timer: number): void {
    this.rings.delete(timer);
  }

  pass(ms: number): void {
    this.now += ms;
    for (const [timer, { at, ring }] of [...this.rings]) {
      if (at <= this.now && this.rings.delete(timer)) {
        ring();
      }
    }
  }
}
