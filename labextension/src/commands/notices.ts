/** What came of a command, as a notice that goes by itself. */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Answer } from '../kernel/model';
import { type Progress, whyNot } from '../kernel/requests';

const DONE_MS = 5000;
const FAILED_MS = 10_000;
const DRAWING_MS = 200;

/** Says the latest of what it is told. JupyterLab (4.6) loses a change of a notice that it has not drawn yet, so each waits for that. */
class Notice {
  private id = '';
  private draw: (() => void) | null = null;

  show(message: string, type: 'in-progress' | 'success' | 'error', autoClose: number | false): void {
    if (!this.draw) {
      window.setTimeout(() => {
        this.draw?.();
        this.draw = null;
      }, DRAWING_MS);
    }
    this.draw = () => {
      if (this.id) {
        Notification.update({ id: this.id, message, type, autoClose });
      } else {
        this.id = Notification.emit(message, type, { autoClose });
      }
    };
  }
}

/** The kernel's answer, or null when there was none but a failure, which the notice then says. */
export async function announced(
  request: (tell: (progress: Progress) => void) => Promise<Answer>,
  saying: string,
  trans: TranslationBundle
): Promise<Answer | null> {
  const notice = new Notice();
  const tell = (progress: Progress): void => {
    notice.show(progress.kind === 'waiting' ? trans.__('%1: waits for the running cell', saying) : progress.text || saying, 'in-progress', false);
  };
  notice.show(saying, 'in-progress', false);
  try {
    const answer = await request(tell);
    notice.show(answer.text || saying, 'success', DONE_MS);
    return answer;
  } catch (error) {
    notice.show(whyNot(error, trans), 'error', FAILED_MS);
    return null;
  }
}
