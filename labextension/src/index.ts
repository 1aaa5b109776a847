/** The plugins. Only a notebook tracker is required, so that they load wherever notebooks are shown. */

import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { answerToolbars } from './answerToolbars';
import { commandsPlugin } from './commandsPlugin';
import { highlighting } from './highlighting';
import { kernelPlugin } from './kernelPlugin';
import { panelPlugin } from './panelPlugin';
import { statusPlugin } from './statusPlugin';

const plugins: JupyterFrontEndPlugin<unknown>[] = [kernelPlugin, panelPlugin, statusPlugin, commandsPlugin, highlighting, answerToolbars];

export default plugins;
