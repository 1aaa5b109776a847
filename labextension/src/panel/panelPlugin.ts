/** The side panel and the command that opens it. */

import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';

import { NO_ARGUMENTS, SHOW_PANEL } from '../commands/commands';
import { PLUGIN_ID } from '../settings/settingsModel';
import { IGleitzeit } from '../tokens';
import { gleitzeitIcon, GleitzeitPanel } from './PanelView';
import { holdWhileSelected } from './selection';
import { nextSteps } from './steps';

function activate(
  app: JupyterFrontEnd,
  gleitzeit: IGleitzeit,
  labShell: ILabShell | null,
  restorer: ILayoutRestorer | null,
  palette: ICommandPalette | null
): void {
  const { following, trans } = gleitzeit;
  const panel = new GleitzeitPanel(gleitzeit, nextSteps(app, gleitzeit));
  const name = (): void => panel.setWhere(following.label);
  following.changed.connect(name);
  name();

  holdWhileSelected();
  app.shell.add(panel, 'left', { rank: 850, type: 'Gleitzeit' });
  restorer?.add(panel, 'gleitzeit-nb-panel');

  app.commands.addCommand(SHOW_PANEL, {
    label: trans.__('Show the Gleitzeit Panel'),
    caption: trans.__('Ollama instances, sandboxes and failovers of the active notebook’s or console’s kernel'),
    icon: gleitzeitIcon,
    describedBy: NO_ARGUMENTS,
    execute: () => {
      labShell?.expandLeft();
      app.shell.activateById(panel.id);
    }
  });
  palette?.addItem({ command: SHOW_PANEL, category: trans.__('Gleitzeit') });
}

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Shows the Ollama instances and sandboxes of the active notebook’s or console’s kernel.',
  autoStart: true,
  requires: [IGleitzeit],
  optional: [ILabShell, ILayoutRestorer, ICommandPalette],
  activate
};
