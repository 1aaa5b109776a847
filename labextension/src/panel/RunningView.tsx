/** Requests, runs and jobs that are going on. */

import React from 'react';

import { cancel } from '../commands/actions';
import { count, cut, percent, rate, rowKeys, wholeSeconds } from '../format';
import type { RunView } from '../kernel/model';
import { ActionButton } from './ButtonsView';
import { Columns, Pieces, Sub } from './ElementsView';
import { Age, useTools } from './PanelContext';
import { Sparkline } from './SparklineView';

const SHARES_SHOWN = 4;

/** `total`: how many there are; `runs` holds the first of them. */
export const Running = React.memo(function Running({ runs, total }: { readonly runs: readonly RunView[]; readonly total: number }): React.JSX.Element | null {
  const { trans } = useTools();
  if (runs.length === 0) {
    return null;
  }
  const keys = rowKeys(runs.map(({ id }) => id));
  return (
    <table className="gz-Table gz-Running">
      <caption>{trans.__('Running')}</caption>
      <Columns names={['rest', 'action']} />
      <thead className="gz-hidden">
        <tr>
          <th scope="col">{trans.__('Request')}</th>
          <th scope="col">{trans.__('Action')}</th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run, index) => (
          <Run key={keys[index]} run={run} />
        ))}
        {total > runs.length && (
          <tr>
            <td colSpan={2} className="gz-muted">
              {trans.__('and %1 more', count(total - runs.length))}
            </td>
          </tr>
        )}
      </tbody>
    </table>
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
