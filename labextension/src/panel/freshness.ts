/** Whether what is shown can still be true. Pure. */

import type { Snapshot } from '../kernel/model';

/** While something runs, the kernel tells at least this often (s); a fleet of a hundred busy instances about once a second. */
export const PATIENCE_S = 8;

/**
 * The kernel speaks only when something changed, so silence is no sign by itself: it is one while something runs, since elapsed times
 * change, and when the page has no line to the kernel. `interval`: how long a person lets snapshots be held back (s).
 */
export function isStale(snapshot: Snapshot, age: number, connected: boolean, interval = 0): boolean {
  const moves = snapshot.runs.length > 0 || snapshot.in_flight > 0;
  return !connected || (moves && age > PATIENCE_S + interval);
}
