/** What the row of an instance has no place for: the last minute as lines, its models, its books. */

import React from 'react';

import { coldModels } from '../commands/actions';
import { bytes, count, cut, duration, percent, placement, rate, UNKNOWN, wholeSeconds } from '../format';
import type { InstanceView, WarmModel } from '../kernel/model';
import { Age, Moment, useTools } from './PanelContext';
import type { Series } from './sparkline';
import { Sparkline } from './SparklineView';

export function InstanceDetails({ instance }: { readonly instance: InstanceView }): React.JSX.Element {
  const { trans } = useTools();
  const id = cut(instance.id);
  const tokens = instance.tokens_per_s;
  return (
    <div role="group" aria-label={trans.__('Details of %1', id)}>
      {instance.reason && <p className="gz-reason">{instance.reason}</p>}
      <dl className="gz-Lines">
        <Line
          term={trans.__('Load')}
          label={trans.__('Load of %1, last minute', id)}
          series={instance.load}
          now={`${instance.in_flight}/${instance.max_concurrent}`}
          format={value => percent(value, 0)}
          top={1}
        />
        <Line
          term={trans.__('Latency')}
          label={trans.__('Latency of %1, last minute', id)}
          series={instance.latencies_s}
          now={duration(instance.latency_s)}
          format={duration}
        />
        <Line
          term={trans.__('Tokens/s')}
          label={trans.__('Tokens per second of %1, last minute', id)}
          series={tokens}
          now={rate(tokens.length > 0 ? tokens[tokens.length - 1] : null)}
          format={rate}
        />
      </dl>
      <Books instance={instance} />
    </div>
  );
}

function Books({ instance }: { readonly instance: InstanceView }): React.JSX.Element {
  const { trans } = useTools();
  const cold = coldModels(instance);
  return (
    <dl className="gz-Facts">
      <Fact term={trans.__('Requests')}>
        {trans.__('%1, of which %2 failed', count(instance.total_requests), count(instance.failed_requests))}
      </Fact>
      <Fact term={trans.__('Warm')}>
        {instance.warm.length === 0 ? UNKNOWN : instance.warm.map((model, index) => <Warm key={index} model={model} />)}
      </Fact>
      {cold.length > 0 && (
        <Fact term={trans.__('Also has')}>
          <span className="gz-code">{cold.join(', ')}</span>
        </Fact>
      )}
      <Fact term={trans.__('Address')}>
        <span className="gz-code">{instance.url}</span>
      </Fact>
    </dl>
  );
}

interface LineProps {
  readonly term: string;
  readonly label: string;
  readonly series: Series;
  readonly now: string;
  readonly format: (value: number) => string;
  readonly top?: number;
}

function Line({ term, label, series, now, format, top }: LineProps): React.JSX.Element {
  return (
    <div>
      <dt>{term}</dt>
      <dd>
        <Sparkline series={series} label={label} format={format} top={top} />
        <span className="gz-number">{now}</span>
      </dd>
    </div>
  );
}

function Fact({ term, children }: { readonly term: string; readonly children: React.ReactNode }): React.JSX.Element {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Warm({ model }: { readonly model: WarmModel }): React.JSX.Element {
  const { trans } = useTools();
  const age = React.useContext(Age);
  const at = React.useContext(Moment);
  const facts = [placement(model.gpu_share)];
  if (model.size_bytes !== null) {
    facts.push(bytes(model.size_bytes));
  }
  if (model.vram_bytes !== null && model.vram_bytes > 0) {
    facts.push(trans.__('%1 VRAM', bytes(model.vram_bytes)));
  }
  if (model.expires_at !== null) {
    const left = model.expires_at - at - age;
    facts.push(left > 7 * 86_400 ? trans.__('kept') : trans.__('leaves in %1', wholeSeconds(left)));
  }
  return (
    <span className="gz-line">
      <span className="gz-code">{model.name}</span> {facts.filter(Boolean).join(' · ')}
    </span>
  );
}
