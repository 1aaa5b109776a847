/** The settings as they are now, from JupyterLab's registry. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { type ISignal, Signal } from '@lumino/signaling';

import { DEFAULTS, readSettings, type Settings } from './settings';

export const PLUGIN_ID = 'gleitzeit-nb:plugin';

export class SettingsModel {
  private current: Settings = DEFAULTS;
  private saved: ISettingRegistry.ISettings | null = null;
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
    this.saved = settings;
    take();
  }

  /** Holds at once, and from then on, as far as the server can save it. */
  set<Name extends 'closedSections' | 'instanceOrder'>(name: Name, value: Settings[Name]): void {
    this.current = { ...this.current, [name]: value };
    this.signal.emit(this.current);
    const json = typeof value === 'string' ? value : [...value];
    void this.saved?.set(name, json).catch((error: unknown) => console.warn('The settings of Gleitzeit could not be saved.', error));
  }
}
