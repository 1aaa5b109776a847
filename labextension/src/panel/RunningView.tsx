/** Requests, runs and jobs that are going on. */

import React from 'react';

import { cancel } from '../commands/actions';
import { count, cut, percent, rate, rowKeys, wholeSeconds } from '../format';
import type { RunView } from '../kernel/model';
import { ActionButton } from './ButtonsView';
import { type Column, Pieces, Sub } from './ElementsView';
import { Age, useTools } from './PanelContext';
import { SectionTable } from './SectionView';
import { Sparkline } from './SparklineView';

const SHARES_SHOWN = 4;
const RUNS_SHOWN = 8; // else they push what is below them out of sight

/** `total`: how many there are; `runs` holds the first of them. */
export const Running = React.memo(function Running({ runs, total }: { readonly runs: readonly RunView[]; readonly total: number }): React.JSX.Element | null {
  const { trans } = useTools();
  const [all, setAll] = React.useState(false);
  if (runs.length === 0) {
    return null;
  }
  const keys = rowKeys(runs.map(({ id }) => id));
  const hidden = runs.length - RUNS_SHOWN;
  const columns: Column[] = [
    { width: 'rest', head: trans.__('Request') },
    { width: 'action', head: trans.__('Action') }
  ];
  return (
    <SectionTable name="running" caption={trans.__('Running')} count={count(total)} className="gz-Running" columns={columns} headsHidden>
      <tbody>
        {runs.slice(0, all ? runs.length : RUNS_SHOWN).map((run, index) => (
          <Run key={keys[index]} run={run} />
        ))}
        {hidden > 0 && (
          <tr>
            <td colSpan={columns.length}>
              <button className="gz-button" aria-expanded={all} onClick={() => setAll(!all)}>
                {all ? trans.__('Show fewer') : trans.__('Show %1 more', count(hidden))}
              </button>
            </td>
          </tr>
        )}
        {(all || hidden <= 0) && total > runs.length && (
          <tr>
            <td colSpan={columns.length} className="gz-muted">
              {trans.__('and %1 more', count(total - runs.length))}
            </td>
          </tr>
        )}
      </tbody>
    </SectionTable>
  );
});

const Run = React.memo(function Run({ run }: { readonly run: RunView }): React.JSX.Element {
  const { trans } = useTools();
  return (
    <tr data-run={run.id}>
      <th scope="row">
        <span className="gz-RunName" title={`${run.label} ${run.model} ${run.where}`}>
          <span className="gz-code">{run.label || run.kind}</span>{' '}
          <span className="gz-plain">{[run.model, run.where && trans.__('on %1', run.where)].filter(Boolean).join(' ')}</span>
        </span>
        <Sub title={run.state}>
          <RunFacts run={run} />
        </Sub>
      </th>
      <td>{run.cancellable && <ActionButton action={cancel(run, trans)} text={trans.__('Cancel')} />}</td>
    </tr>
  );
});

function RunFacts({ run }: { readonly run: RunView }): React.JSX.Element {
  const { trans } = useTools();
  const age = React.useContext(Age);
  const { progress } = run;
  const parts = [wholeSeconds(run.elapsed_s + age)];
  if (progress) {
    parts.push(progress.total === null ? count(progress.done) : trans.__('%1 of %2', count(progress.done), count(progress.total)));
    if (progress.failed > 0) {
      parts.push(trans.__('%1 failed', count(progress.failed)));
    }
    if (progress.eta_s !== null) {
      parts.push(trans.__('%1 left', wholeSeconds(progress.eta_s - age)));
    }
    parts.push(...progress.shares.slice(0, SHARES_SHOWN).map(({ name, share }) => `${cut(name, 20)} ${percent(share, 0)}`));
  }
  if (run.tokens > 0) {
    parts.push(trans.__('%1 tokens', count(run.tokens)));
  }
  if (run.tokens_per_s !== null) {
    parts.push(trans.__('%1 tok/s', rate(run.tokens_per_s)));
  }
  if (run.state && run.state !== 'running' && run.tokens === 0 && !progress) {
    parts.push(run.state);
  }
  return (
    <>
      <Pieces parts={parts} />
      <Sparkline series={run.rates} label={trans.__('Tokens per second, last minute')} format={rate} />
    </>
  );
}
