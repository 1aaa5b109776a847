/** What happened: requests that had to move, and what the sandbox stopped. */

import React from 'react';

import { count, countsByKind } from '../format';
import type { FailoverView, ModeView, SecurityView } from '../kernel/model';
import { type Column, NoRows, Sub } from './ElementsView';
import { useTools } from './PanelContext';
import { SectionTable } from './SectionView';
import { At } from './TimesView';

export const Failovers = React.memo(function Failovers({ failovers }: { readonly failovers: readonly FailoverView[] }): React.JSX.Element {
  const { trans } = useTools();
  const columns: Column[] = [
    { width: 'moment', head: trans.__('Time') },
    { width: 'third', head: trans.__('From → to') },
    { width: 'rest', head: trans.__('Reason') }
  ];
  return (
    <SectionTable
      name="failovers"
      caption={trans.__('Recent failovers')}
      count={count(failovers.length)}
      className="gz-Events gz-Failovers"
      columns={columns}
      headsHidden
    >
      <tbody>
        {failovers.length === 0 && <NoRows columns={columns.length}>{trans.__('None.')}</NoRows>}
        {failovers.map((failover, index) => (
          <tr key={`${failover.at} ${failovers.length - index}`}>
            <td className="gz-muted">
              <At at={failover.at} />
            </td>
            <th scope="row">{`${failover.source} → ${failover.target}`}</th>
            <td title={failover.model}>{failover.reason}</td>
          </tr>
        ))}
      </tbody>
    </SectionTable>
  );
});

interface SecurityProps {
  readonly security: SecurityView;
  readonly modes: readonly ModeView[];
}

/** Nothing, as long as nothing was stopped. */
export const Security = React.memo(function Security({ security, modes }: SecurityProps): React.JSX.Element | null {
  const { trans } = useTools();
  if (security.counts.length === 0 && security.recent.length === 0) {
    return null;
  }
  const labels = new Map(modes.map(({ id, label }) => [id, label]));
  const counts = countsByKind(security.counts).map(([kind, times]) => `${kind} ${count(times)}`);
  const columns: Column[] = [
    { width: 'moment', head: trans.__('Time') },
    { width: 'third', head: trans.__('Kind and mode') },
    { width: 'rest', head: trans.__('Reason') }
  ];
  return (
    <SectionTable
      name="security"
      caption={trans.__('Security events')}
      aside={counts.join(' · ')}
      className="gz-Events gz-Security"
      columns={columns}
      headsHidden
    >
      <tbody>
        {security.recent.map((note, index) => (
          <tr key={`${note.at} ${security.recent.length - index}`}>
            <td className="gz-muted">
              <At at={note.at} />
            </td>
            <th scope="row">
              {note.kind}
              <Sub>{labels.get(note.mode) ?? note.mode}</Sub>
            </th>
            <td>{note.reason}</td>
          </tr>
        ))}
      </tbody>
    </SectionTable>
  );
});
