/** The line to the kernel of the active notebook or console, which the other plugins draw and steer. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { type ISessionContext, ISessionContextDialogs, Notification, SessionContextDialogs } from '@jupyterlab/apputils';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { SettingsModel } from '../settings/settingsModel';
import { IGleitzeit } from '../tokens';
import { KernelLink } from './connection';
import { Following, speaksOfUs } from './following';
import { runLoadLine } from './loadLine';

function activate(
  app: JupyterFrontEnd,
  notebooks: INotebookTracker,
  translator: ITranslator | null,
  consoles: IConsoleTracker | null,
  registry: ISettingRegistry | null,
  dialogs: ISessionContextDialogs | null
): IGleitzeit {
  const trans = (translator ?? nullTranslator).load('gleitzeit_nb');
  const following = new Following(app.shell, notebooks, consoles);
  const link = new KernelLink(() => following.connections());
  const settings = new SettingsModel();
  const asking = dialogs ?? new SessionContextDialogs({ translator: translator ?? nullTranslator });

  link.refused.connect((_, text) => Notification.error(text, { autoClose: 8000 }));
  settings.changed.connect((_, values) => {
    link.autoAttach = values.autoAttach;
    link.refreshInterval = values.refreshInterval;
  });
  const follow = (): void => {
    const place = following.current;
    link.follow(place?.context ?? null, () => place !== null && speaksOfUs(place));
  };
  const begin = (): void => {
    following.changed.connect(follow);
    follow();
  };
  // A kernel is asked only once it is known whether it may be asked.
  void (registry ? settings.load(registry) : Promise.resolve())
    .catch(() => {
      Notification.warning(trans.__('The settings of Gleitzeit cannot be used, so the defaults are. Look at them in the settings editor.'), {
        autoClose: false
      });
    })
    .then(begin);
  // A page that goes away tells the kernel, so that it stops sending to nobody.
  window.addEventListener('pagehide', () => link.follow(null));

  return {
    following,
    link,
    settings,
    trans,
    ...steps(following, link, asking)
  };
}

/** What a person can be led to. */
function steps(
  following: Following,
  link: KernelLink,
  dialogs: ISessionContext.IDialogs
): Pick<IGleitzeit, 'load' | 'chooseKernel' | 'restartKernel'> {
  return {
    load: async () => {
      const place = following.current;
      if (place) {
        await link.load(async () => (await runLoadLine(place, dialogs)) || link.runLoadLine());
      }
    },
    chooseKernel: async () => {
      const context = following.current?.context;
      if (context) {
        await dialogs.selectKernel(context);
      }
    },
    restartKernel: async () => {
      const context = following.current?.context;
      if (context) {
        await dialogs.restart(context);
      }
    }
  };
}

export const kernelPlugin: JupyterFrontEndPlugin<IGleitzeit> = {
  id: 'gleitzeit-nb:kernel',
  description: 'Follows the kernel of the active notebook or console.',
  autoStart: true,
  provides: IGleitzeit,
  requires: [INotebookTracker],
  optional: [ITranslator, IConsoleTracker, ISettingRegistry, ISessionContextDialogs],
  activate
};
