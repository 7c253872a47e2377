// Each filter marks the rows that it blocks, and `blocked` counts the marks of a row: a
// change of one filter takes one pass, and a row passes all other filters where `blocked`
// equals its own mark.
const blocked = new Uint16Array(total);
const filters = [];

/**
 * Add a filter of rows, which passes all of them at first.
 *
 * `expression` returns the source text of a Polars expression for the same rows. It returns
 * null where the frame cannot be asked: the rows are then named one by one. `words` returns
 * the same for readers, as nodes or texts.
 */
function addFilter(words, expression = () => null) {
  const marks = new Uint8Array(total);
  const filter = {
    marks,
    active: false,
    words,
    expression,
    set(passes, active = null) {
      let some = false;
      for (let row = 0; row < total; row += 1) {
        const mark = passes(row) ? 0 : 1;
        some ||= mark === 1;
        blocked[row] += mark - marks[row];
        marks[row] = mark;
      }
      filter.active = active ?? some;
    },
    /** Whether a row passes all others. */
    alone: (row) => blocked[row] === marks[row],
  };
  filters.push(filter);
  return filter;
}

let pending = 0;
/** Draw everything again, from the first page of what matches. */
function changed() {
  page = 0;
  redraw();
}

function redraw() {
  pending ||= requestAnimationFrame(() => { pending = 0; update(); });
}
