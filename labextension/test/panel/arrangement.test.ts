import { expect, test } from '@jest/globals';

import { arrangementOf } from '../../src/panel/arrangement';
import { SettingsModel } from '../../src/settings/settingsModel';

test('it is the same object while it says the same, so that nothing is drawn again', () => {
  const settings = new SettingsModel();
  const first = arrangementOf(settings, null);
  expect(arrangementOf(settings, first)).toBe(first);
  first.setOrder('load');
  const second = arrangementOf(settings, first);
  expect(second).not.toBe(first);
  expect(second.order).toBe('load');
});

test('a section is closed by one click and opened by the next', () => {
  const settings = new SettingsModel();
  const clicked = (): readonly string[] => {
    arrangementOf(settings, null).toggle('running');
    return settings.values.closedSections;
  };
  expect(clicked()).toEqual(['running']);
  arrangementOf(settings, null).toggle('security');
  expect(clicked()).toEqual(['security']);
});
