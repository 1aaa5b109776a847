/** The settings as they are now, from JupyterLab's registry. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { type ISignal, Signal } from '@lumino/signaling';

import { DEFAULTS, readSettings, type Settings } from './settings';

export const PLUGIN_ID = 'gleitzeit-nb:plugin';

export class SettingsModel {
  private current: Settings = DEFAULTS;
  private readonly signal = new Signal<this, Settings>(this);

  get values(): Settings {
    return this.current;
  }

  get changed(): ISignal<this, Settings> {
    return this.signal;
  }

  /** Follows the registry. Rejects when what is saved there cannot be used; then the defaults stay. */
  async load(registry: ISettingRegistry): Promise<void> {
    const settings = await registry.load(PLUGIN_ID);
    const take = (): void => {
      this.current = readSettings(settings.composite);
      this.signal.emit(this.current);
    };
    settings.changed.connect(take);
    take();
  }
}
