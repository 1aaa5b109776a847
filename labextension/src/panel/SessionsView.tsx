/** Sessions: variables that are kept between runs. */

import React from 'react';

import { resetSession } from '../commands/actions';
import { bytes, count, rowKeys } from '../format';
import type { ModeView, SessionView } from '../kernel/model';
import { ActionButton } from './ButtonsView';
import { type Column, Sub } from './ElementsView';
import { useTools } from './PanelContext';
import { SectionTable } from './SectionView';
import { Ago } from './TimesView';

interface SessionsProps {
  readonly sessions: readonly SessionView[];
  readonly modes: readonly ModeView[];
}

/** Nothing, while there is none. */
export const Sessions = React.memo(function Sessions({ sessions, modes }: SessionsProps): React.JSX.Element | null {
  const { trans } = useTools();
  if (sessions.length === 0) {
    return null;
  }
  const labels = new Map(modes.map(({ id, label }) => [id, label]));
  const keys = rowKeys(sessions.map(({ name }) => name));
  const columns: Column[] = [
    { width: 'rest', head: trans.__('Session') },
    { width: 'quarter', head: trans.__('Used') },
    { width: 'quarter', head: trans.__('Memory'), isNumber: true },
    { width: 'action', head: trans.__('Action'), isPlain: true }
  ];
  return (
    <SectionTable
      name="sessions"
      caption={trans.__('Sandbox sessions')}
      count={count(sessions.length)}
      className="gz-Sessions"
      columns={columns}
    >
      <tbody>
        {sessions.map((session, index) => (
          <Session key={keys[index]} session={session} mode={labels.get(session.mode) ?? session.mode} />
        ))}
      </tbody>
    </SectionTable>
  );
});

const Session = React.memo(function Session({ session, mode }: { readonly session: SessionView; readonly mode: string }): React.JSX.Element {
  const { trans } = useTools();
  const { name, state, runs, peak_bytes: peak } = session;
  const states = new Map([
    ['running', trans.__('running')],
    ['starting', trans.__('starting')]
  ]);
  return (
    <tr data-session={name}>
      <th scope="row" aria-label={name} title={name}>
        <span className="gz-clip">{name}</span>
        <Sub title={mode}>{mode}</Sub>
      </th>
      <td>
        {state === 'idle' ? <Ago at={session.used_at} /> : (states.get(state) ?? state)}
        <Sub>{trans._n('%1 run', '%1 runs', runs, count(runs))}</Sub>
      </td>
      <td className="gz-number">
        {bytes(session.memory_bytes)}
        <Sub>{peak === null ? '' : trans.__('peak %1', bytes(peak))}</Sub>
      </td>
      <td>
        <ActionButton action={resetSession(session, trans)} text={trans.__('Reset')} />
      </td>
    </tr>
  );
});
