/** What a person can make the kernel do, in words. Pure: what asks first, what it is called, what is sent. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { cut } from '../format';
import type { Command, ContainerView, InstanceView, RunView, SessionView, Snapshot } from '../kernel/model';

/** Asked before something is destroyed. */
export interface Question {
  readonly title: string;
  readonly body: string;
  /** The buttons: do it, and leave it. */
  readonly button: string;
  readonly keep: string;
  /** What is said instead of doing it, where what it was about has ended while a person read. */
  readonly gone: string;
}

export interface Action {
  readonly command: Command;
  /** Verb and object: "Drain gpu-1". */
  readonly label: string;
  /** What it does, in more words. */
  readonly caption: string;
  /** While the kernel has not answered: "Draining gpu-1". */
  readonly saying: string;
  readonly question: Question | null;
}

/** The same for two actions that would do the same. */
export function keyOf(command: Command): string {
  return JSON.stringify(Object.entries(command).sort(([one], [other]) => (one < other ? -1 : 1)));
}

export function drain(instance: InstanceView, trans: TranslationBundle): Action {
  const id = cut(instance.id);
  return instance.draining
    ? {
        command: { type: 'resume', instance: instance.id },
        label: trans.__('Resume %1', id),
        caption: trans.__('Give it requests again'),
        saying: trans.__('Resuming %1', id),
        question: null
      }
    : {
        command: { type: 'drain', instance: instance.id },
        label: trans.__('Drain %1', id),
        caption: trans.__('Finish what it has, give it nothing new'),
        saying: trans.__('Draining %1', id),
        question: null
      };
}

export function warm(instance: InstanceView, model: string, trans: TranslationBundle): Action {
  const [id, name] = [cut(instance.id), cut(model)];
  return {
    command: { type: 'warm', instance: instance.id, model },
    label: trans.__('Warm %1 on %2', name, id),
    caption: trans.__('Load it into memory, so that its first answer need not wait'),
    saying: trans.__('Loading %1 on %2', name, id),
    question: null
  };
}

export function unload(instance: InstanceView, model: string, trans: TranslationBundle): Action {
  const [id, name] = [cut(instance.id), cut(model)];
  const inUse = instance.in_flight > 0;
  return {
    command: { type: 'unload', instance: instance.id, model },
    label: trans.__('Unload %1 from %2', name, id),
    caption: trans.__('Free its memory; the next request loads it again'),
    saying: trans.__('Unloading %1 from %2', name, id),
    question: inUse
      ? {
          title: trans.__('Unload %1?', name),
          body: trans.__('%1 is answering requests, perhaps with this model. The next request for it has to load it again.', id),
          button: trans.__('Unload it'),
          keep: trans.__('Keep it'),
          gone: trans.__('%1 is not in the memory of %2 any more.', name, id)
        }
      : null
  };
}

/** Models that this instance has and could load. */
export function coldModels(instance: InstanceView): readonly string[] {
  const loaded = new Set(instance.warm.map(({ name }) => name));
  return instance.models.filter(name => !loaded.has(name));
}

export function cancel(run: RunView, trans: TranslationBundle): Action {
  const what = cut(`${run.label} ${run.model}`.trim());
  const bodies = new Map([
    [
      'llm',
      run.tokens > 0
        ? trans.__('What it has answered so far stays. The cell or job that waits for it fails.')
        : trans.__('It has answered nothing yet. The cell or job that waits for it fails.')
    ],
    ['sandbox', trans.__('Its code is stopped, and its container is thrown away with all that is in it.')],
    ['job', trans.__('What is done stays done. Nothing further is begun.')]
  ]);
  return {
    command: { type: 'cancel', run: run.id },
    label: trans.__('Cancel %1', what),
    caption: trans.__('End it now'),
    saying: trans.__('Cancelling %1', what),
    question: {
      title: trans.__('Cancel %1?', what),
      body: bodies.get(run.kind) ?? trans.__('It ends at once.'),
      button: trans.__('Cancel it'),
      keep: trans.__('Let it go on'),
      gone: trans.__('%1 has ended by itself.', what)
    }
  };
}

export function stopContainer(container: ContainerView, trans: TranslationBundle): Action {
  const id = shortId(container.id);
  const body = container.session
    ? trans.__('The session %1 lives in it: its variables are lost.', cut(container.session))
    : container.run
      ? trans.__('Code is running in it: that run fails.')
      : trans.__('It is idle. Another one is made when it is needed.');
  return {
    command: { type: 'stop_container', container: container.id },
    label: trans.__('Stop container %1', id),
    caption: trans.__('End it now, with all that is in it'),
    saying: trans.__('Stopping container %1', id),
    question: {
      title: trans.__('Stop container %1?', id),
      body,
      button: trans.__('Stop it'),
      keep: trans.__('Keep it'),
      gone: trans.__('The container %1 has ended already.', id)
    }
  };
}

export function resetSession(session: SessionView, trans: TranslationBundle): Action {
  const name = cut(session.name);
  return {
    command: { type: 'reset_session', session: session.name },
    label: trans.__('Reset session %1', name),
    caption: trans.__('Forget its variables and files'),
    saying: trans.__('Resetting session %1', name),
    question: {
      title: trans.__('Reset session %1?', name),
      body:
        session.state === 'running'
          ? trans.__('Code is running in it: that run fails. Its variables and files are lost.')
          : trans.__('Its variables and files are lost. The next run begins with none.'),
      button: trans.__('Reset it'),
      keep: trans.__('Keep it'),
      gone: trans.__('The session %1 is over already.', name)
    }
  };
}

export function restartPool(trans: TranslationBundle): Action {
  return {
    command: { type: 'restart_pool' },
    label: trans.__('Restart the pool'),
    caption: trans.__('Ends the requests that are going on, and begins anew from the configuration'),
    saying: trans.__('Restarting the pool'),
    question: {
      title: trans.__('Restart the pool?'),
      body: trans.__(
        'Requests that are going on or wait fail. What was drained or added by hand is forgotten. Sandboxes, runs and sessions go on.'
      ),
      button: trans.__('Restart'),
      keep: trans.__('Cancel'),
      gone: ''
    }
  };
}

/** Whether what a command is about is not there any more, as far as the snapshot tells: it lists only the first of very many runs. */
export function isGone(command: Command, snapshot: Snapshot): boolean {
  switch (command.type) {
    case 'cancel':
      return snapshot.runs.length === snapshot.runs_total && !snapshot.runs.some(({ id }) => id === command.run);
    case 'stop_container':
      return !snapshot.container_list.some(({ id }) => id === command.container);
    case 'reset_session':
      return !snapshot.sessions.some(({ name }) => name === command.session);
    case 'unload':
      return !snapshot.instances.some(({ id, warm }) => id === command.instance && warm.some(({ name }) => name === command.model));
    default:
      return false;
  }
}

/** As people write the id of a container. */
export function shortId(id: string): string {
  return id.length > 12 ? id.slice(0, 12) : id;
}
