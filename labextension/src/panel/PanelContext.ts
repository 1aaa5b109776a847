/** What every part of the side panel needs, without being handed through each: none of it changes while the panel lives, but the age. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { Action } from '../commands/actions';
import type { MenuEntry } from '../commands/menus';
import type { InstanceOrder, Section } from '../settings/settings';
import type { NextSteps } from './steps';

export interface PanelTools {
  readonly trans: TranslationBundle;
  readonly steps: NextSteps;
  /** Does it, after asking where it destroys something. */
  readonly act: (action: Action) => void;
  /** Opens the menu of a row, below its button. */
  readonly openMenu: (entries: readonly MenuEntry[], anchor: HTMLElement, byKeyboard: boolean) => void;
}

export const Tools = React.createContext<PanelTools | null>(null);

export function useTools(): PanelTools {
  const tools = React.useContext(Tools);
  if (tools === null) {
    throw new Error('drawn outside of the panel');
  }
  return tools;
}

/** How a person has arranged the panel. */
export interface Arrangement {
  readonly closed: readonly Section[];
  readonly toggle: (section: Section) => void;
  readonly order: InstanceOrder;
  readonly setOrder: (order: InstanceOrder) => void;
}

export const Sections = React.createContext<Arrangement>({ closed: [], toggle: () => undefined, order: 'configured', setOrder: () => undefined });

/** Seconds since the shown snapshot came, by which waiting times have moved on. Only what counts seconds is drawn again by it. */
export const Age = React.createContext(0);

/** Whether there is place for more columns. */
export const Wide = React.createContext(false);

/** What the kernel was told and has not answered, by `keyOf` the command. */
export const Pending = React.createContext<ReadonlySet<string>>(new Set());

/** The kernel's clock (s since the epoch) when the shown snapshot was made. Times of day in it are by that clock. */
export const Moment = React.createContext(0);
