/** What a report of a bug needs: the kernel's own, redacted account, and what only the page knows. */

import type { JupyterFrontEnd } from '@jupyterlab/application';

import { SCHEMA_VERSION } from '../kernel/model';
import { whyNot } from '../kernel/requests';
import type { IGleitzeit } from '../tokens';
import { notify, showText, Waiting } from './notices';

/** Copies it; where the browser forbids that, shows it to be copied by hand. */
export async function copyDiagnostics(app: JupyterFrontEnd, gleitzeit: IGleitzeit): Promise<void> {
  const { link, trans } = gleitzeit;
  const waiting = new Waiting(trans.__('Collecting diagnostics'), trans);
  const account = await link
    .request({ type: 'diagnostics' }, waiting.tell)
    .then(
      answer => answer.report || answer.text,
      error => `kernel: ${whyNot(error, trans)}`
    );
  waiting.end();
  const report = `${pageAccount(app, gleitzeit).join('\n')}\n${account}\n`;
  try {
    await navigator.clipboard.writeText(report);
    notify('success', trans.__('Diagnostics are in the clipboard. Read them before you send them.'), trans);
  } catch {
    await showText(trans.__('The browser does not allow to copy: copy this by hand'), report, trans);
  }
}

/** For developers, who share no language but English. */
function pageAccount(app: JupyterFrontEnd, { following, link }: IGleitzeit): string[] {
  const { state } = link;
  const busy = link.busySince === null ? '' : ', a cell runs'; // the status is that of whichever shell spoke last
  return [
    `application: ${app.name} ${app.version}`,
    `panel: schema ${SCHEMA_VERSION}, ${state.kind}${state.kind === 'incompatible' ? ` (${state.reason})` : ''}`,
    `followed: ${following.current?.kind ?? 'nothing'}, kernel ${following.current?.context.session?.kernel?.status ?? 'none'}${busy}`,
    `answers while a cell runs: ${link.passesCells ? 'yes' : 'no'}`
  ];
}
