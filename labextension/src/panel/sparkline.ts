/** The geometry and the words of a sparkline. Pure. */

export type Series = readonly (number | null)[];

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Lines through the known values, in a box of `width` by `height` with the origin at its upper left; a gap where a value is unknown.
 * `top` is the value at the upper edge; without it, it is the highest one.
 */
export function lines(series: Series, width: number, height: number, top?: number): readonly (readonly Point[])[] {
  const most = top ?? Math.max(0, ...known(series));
  const step = series.length > 1 ? width / (series.length - 1) : 0;
  const found: Point[][] = [];
  let current: Point[] | null = null;
  series.forEach((value, index) => {
    if (value === null) {
      current = null;
      return;
    }
    const part = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
    const point = { x: rounded(index * step), y: rounded(height - part * height) };
    if (current) {
      current.push(point);
    } else {
      current = [point];
      found.push(current);
    }
  });
  return found;
}

/** The same as the `d` of an SVG path. A lone value is a line of no length, which round ends make a dot. */
export function pathOf(parts: readonly (readonly Point[])[]): string {
  const move = (points: readonly Point[]): string => {
    const [first, ...rest] = points.map(({ x, y }) => `${x} ${y}`);
    return `M${first}L${(rest.length > 0 ? rest : [first]).join(' ')}`;
  };
  return parts.map(move).join('');
}

export function known(series: Series): number[] {
  return series.filter((value): value is number => value !== null);
}

export interface Range {
  readonly least: number;
  readonly most: number;
  readonly last: number;
}

/** Null when nothing is known. */
export function range(series: Series): Range | null {
  const values = known(series);
  return values.length > 0 ? { least: Math.min(...values), most: Math.max(...values), last: values[values.length - 1] } : null;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
