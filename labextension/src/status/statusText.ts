/** What the status bar says. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { upCount } from '../format';
import type { LinkState } from '../kernel/linkState';
import type { Snapshot } from '../kernel/model';

export interface Seen {
  readonly state: LinkState;
  readonly wasLive: boolean;
  /** Whether the page has a line to the kernel: the server may be gone. */
  readonly isConnected: boolean;
}

const SEPARATOR = ' · ';

/** One short line; "" where there is nothing to say: a kernel that never had the extension is none of its business. */
export function statusLine({ state, wasLive, isConnected }: Seen, trans: TranslationBundle): string {
  switch (state.kind) {
    case 'live':
      return isConnected ? counts(state.snapshot, trans) : trans.__('Gleitzeit: line to the kernel cut');
    case 'incompatible':
      return trans.__('Gleitzeit: other version');
    case 'restarting':
      return wasLive ? trans.__('Gleitzeit: kernel restarting') : '';
    case 'dead':
      return wasLive ? trans.__('Gleitzeit: kernel dead') : '';
    case 'not-loaded':
      return wasLive ? trans.__('Gleitzeit: not loaded') : '';
    default:
      return '';
  }
}

function counts(snapshot: Snapshot, trans: TranslationBundle): string {
  if (snapshot.modes.length === 0) {
    return trans.__('Gleitzeit ready');
  }
  const { queue_depth: queued, in_flight: asked } = snapshot;
  return [
    trans.__('Ollama %1/%2', upCount(snapshot), snapshot.instances.length),
    queued > 0 ? trans.__('%1 queued', queued) : asked > 0 ? trans.__('%1 in flight', asked) : '',
    trans.__('sandbox %1 warm', snapshot.containers)
  ]
    .filter(Boolean)
    .join(SEPARATOR);
}

/** Several lines, for the tooltip. */
export function statusDetail({ state, isConnected }: Seen, where: string, trans: TranslationBundle): string {
  const lines = [where];
  if (state.kind === 'live' && !isConnected) {
    lines.push(trans.__('What it has now cannot be known before JupyterLab has found it again.'));
  } else if (state.kind === 'live' && state.snapshot.modes.length > 0) {
    const { snapshot } = state;
    lines.push(
      trans.__('%1 of %2 Ollama instances answer', upCount(snapshot), snapshot.instances.length),
      trans.__('%1 requests in flight, %2 queued, %3 tokens per second', snapshot.in_flight, snapshot.queue_depth, Math.round(snapshot.tokens_per_s)),
      trans.__('%1 sandbox containers are kept warm', snapshot.containers)
    );
  } else if (state.kind === 'live') {
    lines.push(trans.__('Loaded. The first %1 or %2 cell starts what is counted here.', '%%llm', '%%sandbox'));
  } else if (state.kind === 'incompatible') {
    lines.push(state.reason);
  } else if (state.kind === 'dead') {
    lines.push(trans.__('What it had is gone. Restart it, then load the extension again.'));
  } else if (state.kind === 'restarting') {
    lines.push(trans.__('What was shown belonged to the old one.'));
  } else if (state.kind === 'not-loaded') {
    lines.push(trans.__('The kernel no longer has the extension loaded.'));
  }
  lines.push(trans.__('Click to show the Gleitzeit panel'));
  return lines.filter(Boolean).join('\n');
}
