"""Holds rendered manifests against the strict schemas of a Kubernetes version.

    validate.py VERSION=FILE...

Reads the files of `helm template`, and says of each object `ok`, `no schema` or `wrong`, as one line. The schemas come with the
package kubernetes-validate, whose own program reads them anew for every object; here each is read once.
"""

import functools
import sys

import kubernetes_validate
import yaml
from kubernetes_validate import utils

utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)


def main() -> int:
    for argument in sys.argv[1:]:
        version, _, path = argument.partition("=")
        if version not in map(utils.major_minor, utils.all_versions()):
            print(f"wrong {version} {path}: there are no schemas of this version")
            continue
        with open(path, encoding="utf-8") as file:
            documents = [document for document in yaml.load_all(file, yaml.CSafeLoader) if document]
        for document in documents:
            what = f"{version} {document.get('kind')}/{document.get('metadata', {}).get('name')}"
            try:
                kubernetes_validate.validate(document, version, strict=True)
                print(f"ok {what}")
            except kubernetes_validate.SchemaNotFoundError:
                print(f"no schema {what}")
            except kubernetes_validate.ValidationError as error:
                place = ".".join(map(str, error.absolute_path))
                print(f"wrong {what}: {place}: {error.message}")
    return 0


sys.exit(main())
