/** Asks before something is destroyed, as JupyterLab does before it restarts a kernel. */

import { Dialog } from '@jupyterlab/apputils';

import type { Question } from './actions';

/** Whether a person wants it. The button that has the focus is the one that does it: who came this far has chosen it once already. */
export async function isWanted({ title, body, button, keep }: Question): Promise<boolean> {
  const buttons = [Dialog.cancelButton({ label: keep }), Dialog.warnButton({ label: button })];
  const dialog = new Dialog({ title, body, buttons });
  dialog.addClass('gz-Dialog');
  const answer = await dialog.launch();
  return answer.button.accept;
}
