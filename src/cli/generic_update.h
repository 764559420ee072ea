#pragma once

#include "base/json.h"

#include <string>
#include <vector>

namespace holdfast::cli {

/// `--set properties.a[0].b=value`: the value is JSON where it is valid JSON, else text. Missing
/// objects are made, the next element of a list too. Throws kUsage naming what is wrong.
void set_property(Json& document, const std::string& assignment);

/// `--add properties.list value`: appends to a list, which is made when it is missing. A value of
/// `key=value` words is an object.
void add_property(Json& document, const std::vector<std::string>& words);

/// `--remove properties.a` or `--remove properties.list 0`.
void remove_property(Json& document, const std::vector<std::string>& words);

}  // namespace holdfast::cli
