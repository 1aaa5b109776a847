/** What a command of the palette can be about: everything in the snapshot that it could be done to. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { cut } from '../format';
import type { Snapshot } from '../kernel/model';
import { type Action, cancel, coldModels, resetSession, shortId, stopContainer, unload, warm } from './actions';

export interface Choice {
  /** How a person knows it. No two of a list are the same. */
  readonly label: string;
  readonly action: Action;
}

export type Chooser = (snapshot: Snapshot, trans: TranslationBundle) => readonly Choice[];

const parts = (...texts: readonly string[]): string => texts.filter(Boolean).join(' · ');

export const cancellable: Chooser = ({ runs }, trans) =>
  distinct(
    runs
      .filter(run => run.cancellable)
      .map(run => ({ label: parts(cut(run.label || run.kind), cut(run.model), cut(run.where)), action: cancel(run, trans) }))
  );

export const stoppable: Chooser = ({ container_list: containers, modes }, trans) => {
  const labels = new Map(modes.map(({ id, label }) => [id, label]));
  return distinct(
    containers
      .filter(({ id }) => id !== '')
      .map(container => ({
        label: parts(
          shortId(container.id),
          cut(labels.get(container.mode) ?? container.mode),
          container.session ? trans.__('session %1', cut(container.session)) : cut(container.state)
        ),
        action: stopContainer(container, trans)
      }))
  );
};

export const resettable: Chooser = ({ sessions }, trans) =>
  distinct(sessions.map(session => ({ label: cut(session.name), action: resetSession(session, trans) })));

export const loadable: Chooser = ({ instances }, trans) =>
  distinct(
    instances.flatMap(instance =>
      coldModels(instance).map(model => ({ label: trans.__('%1 on %2', cut(model), cut(instance.id)), action: warm(instance, model, trans) }))
    )
  );

export const unloadable: Chooser = ({ instances }, trans) =>
  distinct(
    instances.flatMap(instance =>
      instance.warm.map(({ name }) => ({ label: trans.__('%1 on %2', cut(name), cut(instance.id)), action: unload(instance, name, trans) }))
    )
  );

/** A dialog tells its choices apart by their words alone. */
function distinct(choices: readonly Choice[]): readonly Choice[] {
  const seen = new Map<string, number>();
  return choices.map(choice => {
    const count = (seen.get(choice.label) ?? 0) + 1;
    seen.set(choice.label, count);
    return count === 1 ? choice : { ...choice, label: `${choice.label} (${count})` };
  });
}
