/** What is shown while no kernel tells anything: why, and the next step. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { LinkState } from '../kernel/linkState';
import { useTools } from './PanelContext';
import type { NextSteps } from './steps';

type Silent = Exclude<LinkState, { kind: 'live' }>;

interface Explanation {
  readonly title: string;
  readonly text: string;
  /** What to do about it: the words on the button, and what it does. */
  readonly next?: readonly [label: string, step: () => void];
  /** What the button does, in small. */
  readonly hint?: React.ReactNode;
}

interface Doing {
  readonly busy: boolean;
  /** Whether JupyterLab itself has had no answer from the kernel yet. */
  readonly unknown: boolean;
}

interface EmptyProps extends Doing {
  readonly state: Silent;
  /** Whether a kernel is asked without a person's word. */
  readonly asks: boolean;
}

export function EmptyView({ state, asks, busy, unknown }: EmptyProps): React.JSX.Element {
  const { trans, steps } = useTools();
  const { title, text, next, hint } = state.kind === 'unasked' && !asks ? unasked(trans, steps) : explanation(state, { busy, unknown }, trans, steps);
  return (
    <>
      <div className="gz-Empty">
        <div role="status">
          <b>{title}</b>
          <p>{text}</p>
        </div>
        {next && (
          <button className="gz-button gz-mod-primary" onClick={next[1]}>
            {next[0]}
          </button>
        )}
      </div>
      {hint && <div className="gz-Hint">{hint}</div>}
    </>
  );
}

/** As the settings want it. */
function unasked(trans: TranslationBundle, steps: NextSteps): Explanation {
  return {
    title: trans.__('Not asked'),
    text: trans.__('The settings say that no kernel is asked by itself whether it has instances and sandboxes to show.'),
    next: [trans.__('Ask the kernel'), steps.ask]
  };
}

function explanation(state: Silent, does: Doing, trans: TranslationBundle, steps: NextSteps): Explanation {
  switch (state.kind) {
    case 'no-notebook':
      return {
        title: trans.__('No notebook'),
        text: trans.__('Open a notebook or console to see its instances and sandboxes here.'),
        next: [trans.__('New notebook'), steps.openNotebook]
      };
    case 'no-kernel':
      return {
        title: trans.__('No kernel'),
        text: trans.__('Start a kernel to see its instances and sandboxes here.'),
        next: [trans.__('Choose a kernel'), steps.chooseKernel]
      };
    case 'not-loaded':
      return notLoaded(state.failure, trans, steps);
    case 'unasked':
    case 'connecting':
      return {
        title: trans.__('Asking the kernel'),
        text: whyLate(does, trans)
      };
    case 'silent':
      return {
        title: trans.__('The kernel does not answer'),
        text: trans.__('It was asked twice and is idle, yet says nothing. Ask again, or restart it and load the extension.'),
        next: [trans.__('Ask the kernel again'), steps.ask]
      };
    case 'restarting':
      return { title: trans.__('Kernel restarting'), text: trans.__('What was shown belonged to the old one.') };
    case 'dead':
      return {
        title: trans.__('Kernel dead'),
        text: trans.__('What was shown ended with it. Restart it, then load the extension again.'),
        next: [trans.__('Restart the kernel'), steps.restartKernel]
      };
    case 'incompatible':
      return {
        title: trans.__('The kernel speaks another version'),
        text: trans.__('Bring gleitzeit-nb to one version where this kernel runs and where JupyterLab runs, then restart the kernel and reload the page.'),
        hint: <code>{state.reason}</code>
      };
  }
}

function whyLate({ busy, unknown }: Doing, trans: TranslationBundle): string {
  if (busy) {
    return trans.__('A cell is running. The answer may wait until it has ended.');
  }
  return unknown ? trans.__('It is starting, or a cell is running. The answer may wait until that has ended.') : trans.__('Waiting for its first answer.');
}

function notLoaded(failure: string, trans: TranslationBundle, steps: NextSteps): Explanation {
  const line = <code>%load_ext gleitzeit_nb</code>;
  if (/^ModuleNotFoundError\b/.test(failure)) {
    return {
      title: trans.__('Not installed for this kernel'),
      text: failure,
      next: [trans.__('Try again'), steps.load],
      hint: (
        <>
          {trans.__('Install it where this kernel runs:')} <code>%pip install gleitzeit-nb</code>
        </>
      )
    };
  }
  return {
    title: trans.__('Not loaded in this kernel'),
    text: failure || trans.__('Load the extension to see its instances and sandboxes here.'),
    next: [trans.__('Load gleitzeit_nb'), steps.load],
    hint: (
      <>
        {trans.__('Inserts this as the first cell of code and runs it:')} {line}
      </>
    )
  };
}
