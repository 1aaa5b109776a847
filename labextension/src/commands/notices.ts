/** What came of a command, as a notice that goes by itself. */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Answer } from '../kernel/model';
import { type Progress, whyNot } from '../kernel/requests';

const DONE_MS = 5000;
const FAILED_MS = 10_000;

/** The kernel's answer, or null when there was none but a failure, which the notice then says. */
export async function announced(
  request: (tell: (progress: Progress) => void) => Promise<Answer>,
  saying: string,
  trans: TranslationBundle
): Promise<Answer | null> {
  const id = Notification.emit(saying, 'in-progress', { autoClose: false });
  const tell = (progress: Progress): void => {
    const message = progress.kind === 'waiting' ? trans.__('%1: waits for the running cell', saying) : progress.text || saying;
    Notification.update({ id, message, type: 'in-progress', autoClose: false });
  };
  try {
    const answer = await request(tell);
    Notification.update({ id, message: answer.text || saying, type: 'success', autoClose: DONE_MS });
    return answer;
  } catch (error) {
    Notification.update({ id, message: whyNot(error, trans), type: 'error', autoClose: FAILED_MS });
    return null;
  }
}
