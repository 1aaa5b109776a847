/** A small line of the last minute, with the same in words for those who cannot see it. */

import React from 'react';

import { lines, pathOf, range, type Series } from './sparkline';

const WIDTH = 100;
const HEIGHT = 16;

interface SparklineProps {
  readonly series: Series;
  /** What it is of: "Tokens per second of gpu-1". */
  readonly label: string;
  readonly format: (value: number) => string;
  /** The value at the upper edge, where there is a most; else the highest one. */
  readonly top?: number;
}

/** Nothing, where nothing is known. */
export const Sparkline = React.memo(function Sparkline({ series, label, format, top }: SparklineProps): React.JSX.Element | null {
  const found = range(series);
  if (found === null) {
    return null;
  }
  const { least, most, last } = found;
  const words = `${label}: ${format(last)} (${format(least)} – ${format(most)})`;
  return (
    <svg className="gz-Sparkline" viewBox={`-1 -1 ${WIDTH + 2} ${HEIGHT + 2}`} preserveAspectRatio="none" role="img" aria-label={words}>
      <path d={pathOf(lines(series, WIDTH, HEIGHT, top))} />
    </svg>
  );
});
