/** What a report of a bug needs: the kernel's own, redacted account, and what only the page knows. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { SCHEMA_VERSION } from '../kernel/model';
import { whyNot } from '../kernel/requests';
import type { IGleitzeit } from '../tokens';

/** Copies it; where the browser forbids that, shows it to be copied by hand. */
export async function copyDiagnostics(app: JupyterFrontEnd, gleitzeit: IGleitzeit): Promise<void> {
  const { link, trans } = gleitzeit;
  const saying = trans.__('Collecting diagnostics');
  const id = Notification.emit(saying, 'in-progress', { autoClose: false });
  const account = await link
    .request({ type: 'diagnostics' }, ({ kind }) => {
      if (kind === 'waiting') {
        Notification.update({ id, message: trans.__('%1: waits for the running cell', saying) });
      }
    })
    .then(
      answer => answer.report || answer.text,
      error => `kernel: ${whyNot(error, trans)}`
    );
  const report = `${pageAccount(app, gleitzeit).join('\n')}\n${account}\n`;
  try {
    await navigator.clipboard.writeText(report);
    Notification.update({ id, message: trans.__('Diagnostics are in the clipboard. Read them before you send them.'), type: 'success', autoClose: 5000 });
  } catch {
    Notification.dismiss(id);
    await showReport(report, trans);
  }
}

/** For developers, who share no language but English. */
function pageAccount(app: JupyterFrontEnd, { following, link }: IGleitzeit): string[] {
  const { state } = link;
  return [
    `application: ${app.name} ${app.version}`,
    `panel: schema ${SCHEMA_VERSION}, ${state.kind}${state.kind === 'incompatible' ? ` (${state.reason})` : ''}`,
    `followed: ${following.current?.kind ?? 'nothing'}, kernel ${following.current?.context.session?.kernel?.status ?? 'none'}`,
    `answers while a cell runs: ${link.passesCells ? 'yes' : 'no'}`
  ];
}

async function showReport(report: string, trans: TranslationBundle): Promise<void> {
  const node = document.createElement('textarea');
  node.className = 'gz-Report';
  node.readOnly = true;
  node.rows = 20;
  node.cols = 80;
  node.value = report;
  node.setAttribute('aria-label', trans.__('Diagnostics'));
  const body = new Widget({ node });
  await showDialog({
    title: trans.__('The browser does not allow to copy: copy this by hand'),
    body,
    buttons: [Dialog.okButton({ label: trans.__('Close') })],
    focusNodeSelector: 'textarea'
  });
}
