/** The item in the status bar. Notebook 7 has no such bar. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';

import { SHOW_PANEL } from '../commands/commands';
import { IGleitzeit } from '../tokens';
import { StatusItem } from './StatusItem';

function activate(app: JupyterFrontEnd, { following, link, settings, trans }: IGleitzeit, statusBar: IStatusBar | null): void {
  if (!statusBar) {
    return;
  }
  const item = new StatusItem(link, settings, trans, () => following.label, () => void app.commands.execute(SHOW_PANEL));
  statusBar.registerStatusItem('gleitzeit-nb:status', {
    item,
    align: 'left',
    rank: 900,
    isActive: () => item.isShown,
    activeStateChanged: item.shownChanged
  });
}

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:status',
  description: 'Counts the instances that answer, the queue and the warm sandboxes in the status bar.',
  autoStart: true,
  requires: [IGleitzeit],
  optional: [IStatusBar],
  activate
};
