/** What a person copies. */

import { Clipboard } from '@jupyterlab/apputils';

/** The modern way exists on secure pages only, and asks for a right that may be denied. */
export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    Clipboard.copyToSystem(text);
  }
}
