/** What came of a command, as a notice that goes by itself. */

import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { Answer } from '../kernel/model';
import { type Progress, reportOf, whyNot } from '../kernel/requests';

const DRAWING_MS = 200; // what is done by then needs no word before
const DONE_MS = 5000;
const FAILED_MS = 10_000;
const MOST_CHARS = 140; // JupyterLab cuts what is longer

type Tell = (progress: Progress) => void;

/** The kernel's answer, or null when there was none but a failure, which the notice then says. */
export async function announced(request: (tell: Tell) => Promise<Answer>, saying: string, trans: TranslationBundle): Promise<Answer | null> {
  const waiting = new Waiting(saying, trans);
  try {
    const answer = await request(waiting.tell);
    waiting.end();
    notify('success', answer.text || saying, trans);
    return answer;
  } catch (error) {
    waiting.end();
    notify('error', whyNot(error, trans, saying), trans, reportOf(error));
    return null;
  }
}

/**
 * Stands there until the answer comes, unless that is soon. It is then taken away, and what came of it is a notice of its own: JupyterLab
 * (4.6) loses a change of a notice that it has not drawn yet, and never takes away one that changed while it came in (the animation that
 * counts its time stays paused).
 */
export class Waiting {
  private id = '';
  private message: string;
  private timer = 0;
  private emittedAt = 0;

  constructor(
    private readonly saying: string,
    private readonly trans: TranslationBundle
  ) {
    this.message = saying;
    this.drawIn(DRAWING_MS);
  }

  readonly tell = (progress: Progress): void => {
    this.message = progress.kind === 'waiting' ? this.trans.__('%1: waits for the running cell', this.saying) : progress.text || this.saying;
    if (!this.timer) {
      this.drawIn(DRAWING_MS);
    }
  };

  end(): void {
    window.clearTimeout(this.timer);
    if (this.id) {
      window.setTimeout(() => Notification.dismiss(this.id), Math.max(0, this.emittedAt + DRAWING_MS - Date.now()));
    }
  }

  private drawIn(ms: number): void {
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      const options = { autoClose: false } as const;
      if (this.id) {
        Notification.update({ id: this.id, message: this.message, type: 'in-progress', ...options });
      } else {
        this.emittedAt = Date.now();
        this.id = Notification.emit(this.message, 'in-progress', options);
      }
    }, ms);
  }
}

/** `report`: all lines of it, where there are more than the one. */
export function notify(type: 'success' | 'error', text: string, trans: TranslationBundle, report = ''): void {
  const whole = report || (text.length > MOST_CHARS ? text : '');
  const showAll = { label: trans.__('Show all'), callback: () => void showText(trans.__('What the kernel said'), whole, trans) };
  Notification.emit(text, type, { autoClose: type === 'error' ? FAILED_MS : DONE_MS, actions: whole ? [showAll] : [] });
}

/** Lines to read and to copy. */
export async function showText(title: string, text: string, trans: TranslationBundle): Promise<void> {
  const node = document.createElement('textarea');
  node.className = 'gz-Report';
  node.readOnly = true;
  node.rows = Math.min(20, Math.max(4, Math.ceil(text.length / 70), text.split('\n').length + 1));
  node.cols = 80;
  node.value = text;
  node.setAttribute('aria-label', title);
  await showDialog({
    title,
    body: new Widget({ node }),
    buttons: [Dialog.okButton({ label: trans.__('Close') })],
    focusNodeSelector: 'textarea'
  });
}
