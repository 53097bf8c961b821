// Prepare a page for narrow screens: long names wrap at their separators, each cell of a table of
// three columns or more has the heading of its column, which the style shows where the rows are
// stacked, and a picture is a link to itself in full size.
(() => {
  const LONG = 12;
  const AFTER_SEPARATOR = /(?<=[_/.,=:&?]|\w-)(?=[^\s_/.,=:&?-])/;

  const wrapAtSeparators = (name) => {
    const walker = document.createTreeWalker(name, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    for (const text of texts) {
      if (text.data.length < LONG) continue;
      const parts = text.data.split(AFTER_SEPARATOR);
      text.replaceWith(...parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])));
    }
  };

  const names = ".md-typeset :not(pre) > code, .md-nav--secondary .md-ellipsis";
  for (const name of document.querySelectorAll(names)) wrapAtSeparators(name);

  for (const table of document.querySelectorAll(".md-typeset table:not([class])")) {
    const titles = [...table.querySelectorAll("thead th")].map((each) => each.textContent);
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, i) => {
        if (i && titles.length > 2) cell.dataset.title = titles[i];
      });
    }
  }

  for (const picture of document.querySelectorAll(".md-typeset :not(a) > img")) {
    const link = document.createElement("a");
    link.href = picture.src;
    picture.replaceWith(link);
    link.append(picture);
  }
})();
