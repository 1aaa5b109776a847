/** The plugins. Only a notebook tracker is required, so that they load wherever notebooks are shown. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { answerToolbars } from './cells/answerToolbars';
import { highlighting } from './cells/highlighting';
import { commandsPlugin } from './commands/commandsPlugin';
import { kernelPlugin } from './kernel/kernelPlugin';
import { panelPlugin } from './panel/panelPlugin';
import { statusPlugin } from './status/statusPlugin';

const plugins: JupyterFrontEndPlugin<unknown>[] = [kernelPlugin, panelPlugin, statusPlugin, commandsPlugin, highlighting, answerToolbars];

export default plugins;
