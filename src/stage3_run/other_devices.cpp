#include "stage3_run/other_devices.hpp"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "base/error.hpp"
#include "mesh/transport.hpp"

namespace meshseek {
namespace {

bool is_mesh_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const MeshError&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return "out of memory; expected more free memory or a smaller model or context";
  } catch (const std::exception& known) {
    return known.what();
  } catch (...) {
    return "an unknown exception";
  }
}

DeviceError error_in(const Communicator& communicator, std::exception_ptr error) {
  const Progress& progress = communicator.progress();
  return {.rank = communicator.rank(), .error = std::move(error), .where = progress.is_operator() ? to_string(progress) : ""};
}

void throw_cause(std::span<const DeviceError> errors, const MeshShape& mesh) {
  for (const DeviceError& thrown : errors) {
    if (is_mesh_error(thrown.error)) continue;
    const std::string where = thrown.where.empty() ? "" : " in " + thrown.where;
    throw Error(fmt::format("[device {} ({}, {}) of mesh {}{}] {}", thrown.rank, thrown.rank / mesh.cols, thrown.rank % mesh.cols,
                            to_string(mesh), where, message_of(thrown.error)));
  }
  if (!errors.empty()) std::rethrow_exception(errors.front().error);
}

}  // namespace meshseek
