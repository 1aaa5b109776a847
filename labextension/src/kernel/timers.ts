/** Time as it comes in from outside, so that tests can let it pass. */

export interface Timers {
  set(callback: () => void, ms: number): number;
  clear(timer: number): void;
}

export const pageTimers: Timers = {
  set: (callback, ms) => window.setTimeout(callback, ms),
  clear: timer => window.clearTimeout(timer)
};
