/** What one plugin of this extension gives to another. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { Token } from '@lumino/coreutils';

import type { KernelLink } from './kernel/connection';
import type { Following } from './kernel/following';
import type { SettingsModel } from './settings/settingsModel';

export interface IGleitzeit {
  readonly following: Following;
  readonly link: KernelLink;
  readonly settings: SettingsModel;
  readonly trans: TranslationBundle;
  /** Loads the extension in the kernel, where a person sees it. */
  load(): Promise<void>;
  /** Lets a person choose a kernel, or none. */
  chooseKernel(): Promise<void>;
  /** Asks, as JupyterLab does everywhere, and restarts the kernel. */
  restartKernel(): Promise<void>;
}

export const IGleitzeit = new Token<IGleitzeit>('gleitzeit-nb:IGleitzeit', 'The line to the kernel of the notebook or console in use.');
