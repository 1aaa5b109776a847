/** What an output that is not final says of itself, and how the kernel tells what it shows by now. Pure; all of it is untrusted. */

import { JSONExt, type PartialJSONObject } from '@lumino/coreutils';

const KEY = 'gleitzeit_nb';
const ID = /^[0-9a-f]{32}$/;
const WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json';
const DASHBOARD = 'class="gz-dash'; // gleitzeit_nb/jupyter/dashboard/markup.py

/** `live`: the id of the display in the kernel. `job`: the number of the job whose state the output tells; else null. */
export interface Mark {
  readonly live: string;
  readonly job: number | null;
}

/** What stands in one place. */
export interface Shown {
  readonly id: string;
  readonly data: PartialJSONObject;
  readonly metadata: PartialJSONObject;
}

function isRecord(value: unknown): value is PartialJSONObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Null where the output is final, or none of ours. */
export function readMark(metadata: unknown): Mark | null {
  const ours = isRecord(metadata) ? metadata[KEY] : null;
  if (!isRecord(ours) || typeof ours.live !== 'string' || !ID.test(ours.live)) {
    return null;
  }
  const { job } = ours;
  return { live: ours.live, job: typeof job === 'number' && Number.isSafeInteger(job) && job > 0 ? job : null };
}

/** The kernel's answer to `{type: 'outputs'}`; null for anything else it says. */
export function readOutputs(message: unknown): readonly Shown[] | null {
  if (!isRecord(message) || message.type !== 'outputs' || !Array.isArray(message.outputs)) {
    return null;
  }
  return message.outputs.flatMap(each => readShown(isRecord(each) ? each.id : null, each) ?? []);
}

/** A display as a message carries it: its data by type, and what is said of them. */
export function readShown(id: unknown, content: unknown): Shown | null {
  if (typeof id !== 'string' || !ID.test(id) || !isRecord(content) || !isRecord(content.data) || !isRecord(content.metadata)) {
    return null;
  }
  return { id, data: content.data, metadata: content.metadata };
}

/** The id under which a message shows or changes a display; null where it does neither. */
export function displayId(type: string, content: unknown): string | null {
  const transient = (type === 'display_data' || type === 'update_display_data') && isRecord(content) ? content.transient : null;
  const id = isRecord(transient) ? transient.display_id : null;
  return typeof id === 'string' ? id : null;
}

/** A dashboard in a saved notebook: its widget, by the kernel's name for it, and the picture beside that. */
export interface SavedDashboard {
  readonly widget: string;
  readonly html: string;
}

/** Null where the output is none. */
export function savedDashboard(data: unknown): SavedDashboard | null {
  const view = isRecord(data) ? data[WIDGET_VIEW] : null;
  const html = isRecord(data) ? data['text/html'] : null;
  const written = Array.isArray(html) ? html.join('') : html;
  return isRecord(view) && typeof view.model_id === 'string' && typeof written === 'string' && written.includes(DASHBOARD)
    ? { widget: view.model_id, html: written }
    : null;
}

/** Whether an output shows exactly that already. */
export function isShown(output: { readonly data: unknown; readonly metadata: unknown }, shown: Shown): boolean {
  return (
    isRecord(output.data) &&
    isRecord(output.metadata) &&
    JSONExt.deepEqual({ ...output.data }, { ...shown.data }) &&
    JSONExt.deepEqual({ ...output.metadata }, { ...shown.metadata })
  );
}

/**
 * following  what it shows is what the kernel says
 * asking     nobody has said yet what became of it
 * ended      its kernel is gone, or does not know it
 * offline    the page has no line to the kernel
 */
export type Standing = 'following' | 'asking' | 'ended' | 'offline';

export interface KernelSeen {
  /** Null where there is none. */
  readonly status: string | null;
  readonly connection: string;
  /** Whether it is known by now that there is none. */
  readonly isSettled: boolean;
}

/** What can be said of outputs at all, whichever they are. */
export function standing({ status, connection, isSettled }: KernelSeen): Standing {
  if (status === null) {
    return isSettled ? 'ended' : 'asking';
  }
  if (['dead', 'terminating', 'restarting', 'autorestarting'].includes(status)) {
    return 'ended';
  }
  return connection === 'connected' ? 'following' : connection === 'disconnected' ? 'offline' : 'asking';
}
