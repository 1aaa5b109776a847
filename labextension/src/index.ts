/** Plugins: the side panel, its command, and the item in the status bar. Only the notebook tracker is required. */

import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, ISessionContextDialogs, Notification, SessionContextDialogs } from '@jupyterlab/apputils';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { answerToolbars } from './answerToolbars';
import { KernelLink } from './connection';
import { Following, speaksOfUs } from './following';
import { highlighting } from './highlighting';
import { gleitzeitIcon, GleitzeitPanel } from './PanelView';
import { holdWhileSelected } from './selection';
import { nextSteps } from './steps';
import { StatusItem } from './StatusItem';
import { IKernelLink } from './tokens';

const SHOW_PANEL = 'gleitzeit:show-panel';

function activate(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker,
  translator: ITranslator | null,
  labShell: ILabShell | null,
  restorer: ILayoutRestorer | null,
  palette: ICommandPalette | null,
  statusBar: IStatusBar | null,
  consoles: IConsoleTracker | null,
  dialogs: ISessionContextDialogs | null
): KernelLink {
  const trans = (translator ?? nullTranslator).load('gleitzeit_nb');
  const following = new Following(app.shell, notebooks, consoles);
  const link = new KernelLink(() => following.connections());
  const panel = new GleitzeitPanel(link, trans, nextSteps(app, following, link, dialogs ?? new SessionContextDialogs()));

  holdWhileSelected();
  link.refused.connect((_, text) => Notification.error(text, { autoClose: 8000 }));

  const follow = (): void => {
    const place = following.current;
    link.follow(place?.context ?? null, () => place !== null && speaksOfUs(place));
    panel.setWhere(following.label);
  };
  following.changed.connect(follow);
  follow();
  // A page that goes away tells the kernel, so that it stops sending to nobody.
  window.addEventListener('pagehide', () => link.follow(null));

  app.shell.add(panel, 'left', { rank: 850, type: 'Gleitzeit' });
  restorer?.add(panel, 'gleitzeit-nb-panel');

  const label = trans.__('Show the Gleitzeit Panel');
  app.commands.addCommand(SHOW_PANEL, {
    label,
    icon: gleitzeitIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => {
      labShell?.expandLeft();
      app.shell.activateById(panel.id);
    }
  });
  palette?.addItem({ command: SHOW_PANEL, category: trans.__('Gleitzeit') });

  if (statusBar) {
    const item = new StatusItem(link, trans, () => void app.commands.execute(SHOW_PANEL));
    statusBar.registerStatusItem('gleitzeit-nb:status', {
      item,
      align: 'left',
      rank: 900,
      isActive: () => link.state.kind === 'live',
      activeStateChanged: item.shownChanged
    });
  }
  return link;
}

const plugin: JupyterFrontEndPlugin<KernelLink> = {
  id: 'gleitzeit-nb:plugin',
  description: 'Shows the Ollama instances and sandboxes of the active notebook’s kernel.',
  autoStart: true,
  requires: [INotebookTracker],
  provides: IKernelLink,
  optional: [ITranslator, ILabShell, ILayoutRestorer, ICommandPalette, IStatusBar, IConsoleTracker, ISessionContextDialogs],
  activate
};

export default [plugin, highlighting, answerToolbars];
