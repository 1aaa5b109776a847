import { expect, test } from '@jest/globals';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal } from '@lumino/signaling';

import { DEFAULTS } from '../../src/settings/settings';
import { SettingsModel } from '../../src/settings/settingsModel';

function saved(composite: Record<string, unknown>) {
  const settings = {
    composite,
    changed: new Signal<object, void>({}),
    set: (name: string, value: unknown) => {
      settings.composite = { ...settings.composite, [name]: value };
      settings.changed.emit();
      return Promise.resolve();
    }
  };
  return { settings, registry: { load: () => Promise.resolve(settings) } as unknown as ISettingRegistry };
}

test('the defaults hold until a person has set something, and then what is set', async () => {
  const model = new SettingsModel();
  const told: boolean[] = [];
  model.changed.connect((_, { autoAttach }) => told.push(autoAttach));
  expect(model.values).toBe(DEFAULTS);
  const { settings, registry } = saved({ autoAttach: false });
  await model.load(registry);
  settings.composite = { autoAttach: true };
  settings.changed.emit();
  expect(told).toEqual([false, true]);
});

test('settings that cannot be read leave the defaults', async () => {
  const model = new SettingsModel();
  await expect(model.load({ load: () => Promise.reject(new Error('invalid')) } as unknown as ISettingRegistry)).rejects.toThrow('invalid');
  expect(model.values).toBe(DEFAULTS);
});

test('what the panel sets holds at once, also where nothing can be saved', async () => {
  const model = new SettingsModel();
  model.set('instanceOrder', 'load');
  expect(model.values.instanceOrder).toBe('load');
  const { settings, registry } = saved({});
  await model.load(registry);
  model.set('closedSections', ['running']);
  expect(settings.composite).toEqual({ closedSections: ['running'] });
  expect(model.values.closedSections).toEqual(['running']);
});
