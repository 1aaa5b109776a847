import ts from 'typescript';

export interface Source {
  readonly name: string;
  readonly text: string;
}

/** The extension's own files. */
export function sources(): readonly Source[] {
  return ts.sys.readDirectory('src', ['.ts', '.tsx']).map(name => ({ name, text: ts.sys.readFile(name) ?? '' }));
}
