/** The live part of the side panel: a drawing of one snapshot. */

import React from 'react';

import { count, upCount } from '../format';
import type { Snapshot } from '../kernel/model';
import { Failovers, Security } from './EventsView';
import { Execution } from './ExecutionView';
import { Instances } from './InstancesView';
import { Age, Moment, useTools } from './PanelContext';
import { Running } from './RunningView';
import { Sessions } from './SessionsView';

interface LiveProps {
  readonly snapshot: Snapshot;
  /** Seconds since it came, by which waiting times have moved on. */
  readonly age: number;
  readonly withSecurity: boolean;
}

export function LiveView({ snapshot, age, withSecurity }: LiveProps): React.JSX.Element {
  const { trans, steps } = useTools();
  if (snapshot.modes.length === 0) {
    return (
      <div className="gz-Empty">
        <div role="status">
          <b>{trans.__('Nothing asked yet')}</b>
          <p>{trans.__('The first %1 or %2 cell starts what will be shown here.', '%%llm', '%%sandbox')}</p>
        </div>
        <button className="gz-button gz-mod-primary" onClick={steps.insertPrompt}>
          {trans.__('Insert a %1 cell', '%%llm')}
        </button>
      </div>
    );
  }
  return (
    <Moment.Provider value={snapshot.at}>
      <Age.Provider value={age}>
        <Tables snapshot={snapshot} withSecurity={withSecurity} />
      </Age.Provider>
    </Moment.Provider>
  );
}

const Tables = React.memo(function Tables({ snapshot, withSecurity }: Omit<LiveProps, 'age'>): React.JSX.Element {
  return (
    <>
      <Summary snapshot={snapshot} />
      <Running runs={snapshot.runs} total={snapshot.runs_total} />
      <Instances instances={snapshot.instances} />
      <Execution modes={snapshot.modes} containers={snapshot.container_list} />
      <Sessions sessions={snapshot.sessions} modes={snapshot.modes} />
      <Failovers failovers={snapshot.failovers} />
      {withSecurity && <Security security={snapshot.security} modes={snapshot.modes} />}
    </>
  );
});

function Summary({ snapshot }: { readonly snapshot: Snapshot }): React.JSX.Element {
  const { trans } = useTools();
  const queued = snapshot.queue_depth > 0 ? ` + ${count(snapshot.queue_depth)}` : '';
  const figures: [string, string, string][] = [
    [`${upCount(snapshot)}/${snapshot.instances.length}`, '', trans.__('instances')],
    [count(snapshot.in_flight), queued, trans.__('run, queue')],
    [count(snapshot.tokens_per_s), '', trans.__('tok/s')],
    [count(snapshot.containers), '', trans.__('containers')]
  ];
  return (
    <dl className="gz-Summary">
      {figures.map(([value, more, label]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>
            {value}
            <small>{more}</small>
          </dd>
        </div>
      ))}
    </dl>
  );
}
