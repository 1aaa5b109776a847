/** What is known of the kernel that is followed. */

import type { Snapshot } from './model';

/**
 * no-notebook ─ follow ─→ no-kernel ─ kernel ─→ unasked ─ attach ─→ connecting ─→ live | not-loaded | incompatible | silent
 * any of the last six ─ restart ─→ restarting ─ idle ─→ unasked;   any ─→ dead
 */
export type LinkState =
  | { readonly kind: 'no-notebook' | 'no-kernel' | 'unasked' | 'connecting' | 'silent' | 'restarting' | 'dead' }
  | { readonly kind: 'not-loaded'; readonly failure: string }
  | { readonly kind: 'incompatible'; readonly reason: string }
  /** `receivedAt`: in ms since the epoch, by the browser's clock. */
  | { readonly kind: 'live'; readonly snapshot: Snapshot; readonly receivedAt: number };

export type LiveState = Extract<LinkState, { kind: 'live' }>;
