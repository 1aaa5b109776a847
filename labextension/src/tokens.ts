/** What one plugin of this extension gives to another. */

import { Token } from '@lumino/coreutils';

import type { KernelLink } from './connection';

export const IKernelLink = new Token<KernelLink>('gleitzeit-nb:IKernelLink', 'The line to the kernel of the notebook or console in use.');
