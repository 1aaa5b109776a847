/** Commands that wait for the kernel's word. Pure: messages and time come in from outside. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { Answer } from './model';
import type { Timers } from './timers';

export const PATIENCE_MS = 10_000;

/**
 * refused   the kernel said why it would not
 * not-live  nobody listens, so nothing was sent
 * gone      the kernel ended, was restarted or was left before it answered
 * silent    it did not answer in time
 */
export type Failure = 'refused' | 'not-live' | 'gone' | 'silent';

export class RequestError extends Error {
  /** `message`: the kernel's words, where it said some; `report`: all of them, where they are several lines. */
  constructor(
    readonly failure: Failure,
    message = '',
    readonly report = ''
  ) {
    super(message || failure);
  }
}

/** Why a command was not obeyed, for a person. The kernel's own words stay as they are; others say of which `command` they are. */
export function whyNot(error: unknown, trans: TranslationBundle, command = ''): string {
  const named = (why: string): string => (command ? trans.__('%1: %2', command, why) : why);
  if (!(error instanceof RequestError)) {
    return named(String(error));
  }
  const { failure, message } = error;
  return failure === 'refused' ? message : named(words(failure, trans));
}

function words(failure: Exclude<Failure, 'refused'>, trans: TranslationBundle): string {
  switch (failure) {
    case 'not-live':
      return trans.__('No kernel with gleitzeit_nb listens here. Load the extension first.');
    case 'gone':
      return trans.__('The kernel ended or was left before it answered. Look whether it was done.');
    case 'silent':
      return trans.__('The kernel has not answered for %1 s. It may still do it.', PATIENCE_MS / 1000);
  }
}

/** All that the kernel said about why not, where it is more than a line; else "". */
export function reportOf(error: unknown): string {
  return error instanceof RequestError ? error.report : '';
}

/** What happens before the answer: the running cell has to end first, or the kernel has begun and says with what. */
export type Progress = { readonly kind: 'waiting' } | { readonly kind: 'started'; readonly text: string };

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: RequestError) => void;
  readonly tell: (progress: Progress) => void;
  started: boolean;
  timer: number | null;
}

/** The commands of one line to one kernel. Each ends once: answered, refused, given up. */
export class Requests {
  private readonly pending = new Map<string, Pending>();
  private count = 0;
  private held = false;

  constructor(private readonly timers: Timers) {}

  /** `send` gets the name by which the answer is known. */
  begin(send: (request: string) => void, tell: (progress: Progress) => void = () => undefined): Promise<Answer> {
    const name = `r${++this.count}`;
    return new Promise((resolve, reject) => {
      const pending: Pending = { resolve, reject, tell, started: false, timer: null };
      this.pending.set(name, pending);
      send(name);
      if (this.held) {
        tell({ kind: 'waiting' });
      } else {
        this.wait(name, pending);
      }
    });
  }

  /** Takes the answer to one of these; false when it is to none. */
  take(answer: Answer): boolean {
    const pending = this.pending.get(answer.request);
    if (!pending) {
      return false;
    }
    if (answer.outcome === 'started') {
      pending.started = true;
      this.stop(pending);
      pending.tell({ kind: 'started', text: answer.text });
      return true;
    }
    this.end(answer.request, pending);
    if (answer.outcome === 'done') {
      pending.resolve(answer);
    } else {
      pending.reject(new RequestError('refused', answer.text, answer.report));
    }
    return true;
  }

  /** While a kernel cannot answer, since a cell runs, patience stands still. */
  hold(held: boolean): void {
    if (held === this.held) {
      return;
    }
    this.held = held;
    for (const [name, pending] of this.pending) {
      if (pending.started) {
        continue;
      }
      if (held) {
        this.stop(pending);
        pending.tell({ kind: 'waiting' });
      } else {
        this.wait(name, pending);
      }
    }
  }

  /** Nobody will answer any more. */
  giveUp(): void {
    for (const [name, pending] of [...this.pending]) {
      this.end(name, pending);
      pending.reject(new RequestError('gone'));
    }
  }

  private wait(name: string, pending: Pending): void {
    this.stop(pending);
    pending.timer = this.timers.set(() => {
      this.end(name, pending);
      pending.reject(new RequestError('silent'));
    }, PATIENCE_MS);
  }

  private stop(pending: Pending): void {
    if (pending.timer !== null) {
      this.timers.clear(pending.timer);
      pending.timer = null;
    }
  }

  private end(name: string, pending: Pending): void {
    this.stop(pending);
    this.pending.delete(name);
  }
}
