/** How a person has arranged the panel: it is kept with the settings, so that the next page has it too. */

import type { SettingsModel } from '../settings/settingsModel';
import type { Arrangement } from './PanelContext';

/** The same object again, as long as it says the same. */
export function arrangementOf(settings: SettingsModel, before: Arrangement | null): Arrangement {
  const { closedSections: closed, instanceOrder: order } = settings.values;
  if (before?.order === order && String(before.closed) === String(closed)) {
    return before;
  }
  return {
    closed,
    order,
    toggle: section => settings.set('closedSections', closed.includes(section) ? closed.filter(each => each !== section) : [...closed, section]),
    setOrder: chosen => settings.set('instanceOrder', chosen)
  };
}
