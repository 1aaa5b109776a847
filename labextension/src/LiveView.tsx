/** The live part of the side panel: a drawing of one snapshot. */

import React from 'react';

import { Failovers, Security } from './EventsView';
import { Execution } from './ExecutionView';
import { count, upCount } from './format';
import { Instances } from './InstancesView';
import type { Snapshot } from './model';
import { Age, Moment, useTools } from './PanelContext';
import { Running } from './RunningView';
import { Sessions } from './SessionsView';

/** `age`: seconds since the snapshot came, by which waiting times have moved on. */
export function LiveView({ snapshot, age }: { readonly snapshot: Snapshot; readonly age: number }): React.JSX.Element {
  const { trans } = useTools();
  if (snapshot.modes.length === 0) {
    return (
      <div className="gz-Empty" role="status">
        <b>{trans.__('Nothing asked yet')}</b>
        <p>{trans.__('The first %%llm or %%sandbox cell starts what will be shown here.')}</p>
      </div>
    );
  }
  return (
    <Moment.Provider value={snapshot.at}>
      <Age.Provider value={age}>
        <Tables snapshot={snapshot} />
      </Age.Provider>
    </Moment.Provider>
  );
}

const Tables = React.memo(function Tables({ snapshot }: { readonly snapshot: Snapshot }): React.JSX.Element {
  return (
    <>
      <Summary snapshot={snapshot} />
      <Running runs={snapshot.runs} total={snapshot.runs_total} />
      <Instances instances={snapshot.instances} />
      <Execution modes={snapshot.modes} containers={snapshot.container_list} />
      <Sessions sessions={snapshot.sessions} modes={snapshot.modes} />
      <Failovers failovers={snapshot.failovers} />
      <Security security={snapshot.security} modes={snapshot.modes} />
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
